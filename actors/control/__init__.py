"""The controller and its offices: what is done about nodes."""

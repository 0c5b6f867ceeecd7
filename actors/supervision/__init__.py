"""What a controller knows of its nodes and how it decides; nothing here acts."""

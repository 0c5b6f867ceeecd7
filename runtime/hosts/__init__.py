"""Where nodes live: a process, another host, or a task of this trio run."""

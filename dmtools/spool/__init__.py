"""TODO/DOING/DONE: directories as a queue that people can read and move by hand."""

"""The model service: the engine behind messages, in this process, in a child of it, or on another machine."""

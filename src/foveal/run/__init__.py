"""One run: train, resume, loop, loggers; and `Run`, the object that a person holds."""

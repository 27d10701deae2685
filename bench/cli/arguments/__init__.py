"""The arguments of the commands: what a command line is parsed with, so that nothing heavy is loaded for it."""

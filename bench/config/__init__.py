"""Settings from variables and a file: where they are read, which wins, and what is wrong with them.

Nothing here knows a command: options are those of an `argparse` parser.
"""

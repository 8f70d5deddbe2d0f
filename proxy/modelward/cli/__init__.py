"""The `modelward` command: a file for each command, with `add_arguments(parser)` and `run(arguments)`."""

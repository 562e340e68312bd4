"""The command line: a module a command, each with what it needs imported inside."""

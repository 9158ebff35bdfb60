"""The command `gan-registry`; one module a subcommand, torch imported only when work begins."""

"""The command line `iznet`, one file a command. No logic lives here beyond reading arguments and printing."""

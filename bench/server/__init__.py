"""Life cycle of the servers under test: embedded, docker and binary."""

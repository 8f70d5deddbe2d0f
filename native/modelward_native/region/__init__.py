"""Memory that the processes of one server share."""

"""What the load tests of theft and evasion share: victims, honest tenants, and attackers who speak gRPC."""

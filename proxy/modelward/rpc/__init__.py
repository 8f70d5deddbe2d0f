"""What gRPC methods have in common: message classes, services, and what a handler may know of its call."""

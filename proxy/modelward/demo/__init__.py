"""The demo: a bundled model, served for real on loopback, and a tour in which every guard has to show itself."""

"""Configuration: keys and defaults (schema), where values come from (sources), and what is wrong with them."""

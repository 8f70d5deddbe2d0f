"""One proxied hop: Modelward with its guards against general proxies, by the CPU time that each request costs them."""

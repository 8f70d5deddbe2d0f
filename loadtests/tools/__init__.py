"""What the load tests share: processes and their CPU time, h2load, a checking client, models, result files."""

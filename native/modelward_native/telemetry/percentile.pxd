# A percentile estimated as values come, without keeping them.

# The estimate of a 95th percentile after one more value; 0: there was none before. Robbins and Monro 1951, in steps of a
# twentieth of the estimate.
cdef inline double estimated(double p95, double value) noexcept:
    if p95 == 0:
        return value
    return p95 * (1 + 0.05 * 0.95) if value > p95 else p95 * (1 - 0.05 * 0.05)

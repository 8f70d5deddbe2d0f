"""Time: the clock, the timer wheel, deadlines."""

"""Threads that work beside the main loop. Each takes the newest request and hands out the newest answer."""

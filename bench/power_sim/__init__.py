"""Closed loop: a Raspberry Pi 4 in simulated time, under our policy and under what others do.

`python -m bench.power_sim [heat|battery] [--seeds N] [--minutes N] [--f32]`. No time is measured: every seed gives the
same figures on every machine.
"""

"""The arithmetic between a decoded input and a tensor, and between a tensor and an answer.

Written once in numba's subset of Python; run as a shared object compiled ahead of time, by numba in
process, or by numpy. All three give equal results within 1 LSB (int8) or 1e-5 (float32).
"""

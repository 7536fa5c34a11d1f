"""What edged costs, against the least it could cost and against what others would build.

Every figure of one page comes from one run. Every ratio is paired: the reference runs right before and right
after what is compared with it. A missed target is printed as missed.
"""

"""What others would build the same service with, each as its own process on a Unix socket.

Each peer is given the best its stack has: OpenCV on one thread, JPEG shrunk while it is decoded, tensors
written in place, inference on the event loop (no thread hop for its single interpreter), JSON answers
without a session, access logs off. Each does less than edged after the invoke: it answers with the surest
face, without suppression or landmarks.
"""

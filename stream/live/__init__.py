"""Live feeds: cameras and streams, named frame by frame, with a latency that stays bounded.

    reader (a thread a camera) ──► freshest frame ──► analysis (one thread for all) ──► record, recording, page

Pictures that cannot be analysed in time are dropped and counted by cause; a feed that breaks is asked for again.
"""

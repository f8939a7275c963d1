"""What a child process can do, by module: ``network`` brings torch, ``maps`` does not. No Qt here.

Each job is a generator: it yields steps and returns plain numbers. A step is answered with True (go on) or False (end
early with what there is).
"""

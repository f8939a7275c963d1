"""Networks and maps run in child processes of the window.

Torch is imported there and not beside Qt (which crashes on Windows when Qt came first, and holds the interpreter for
seconds everywhere), and a job that is cancelled is really gone: its process is ended, and the next job starts another.

``process`` is the window's side, ``serve`` the child's, ``frames`` what they share, ``records`` what passes between
them, ``jobs`` what a child can do. No Qt in any of it.
"""

"""``python -m napari_sparse3d.cli COMMAND``: the program, for whoever starts it as a child process."""

from napari_sparse3d.cli import main

if __name__ == "__main__":
    main()

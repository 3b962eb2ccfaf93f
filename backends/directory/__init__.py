"""Copy-on-write folders: see `backend`."""

from .backend import DirectoryBackend as DirectoryBackend

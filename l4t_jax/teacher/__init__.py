"""Teachers: `policy` on the device, `file` on the host, the package's own teacher files in `data/`."""

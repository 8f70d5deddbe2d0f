# No Python interface: other compiled modules use it (see relay_answers.pxd).

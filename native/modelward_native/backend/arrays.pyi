import numpy as np

NUMPY: dict[str, type[np.generic]]

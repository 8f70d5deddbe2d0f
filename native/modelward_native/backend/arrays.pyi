NUMPY: dict[str, str]

"""The boundary to C: the build, the loaded library, and the views of columns that it takes.

What is computed stands with its subject, beside the Python that calls it.
"""

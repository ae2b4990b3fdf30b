"""What runs on a GPU besides the networks: pictures to network inputs, output maps to boxes, embeddings to names.

The kernels (`kernels.cu` over the headers beside it) become one file, `iznet.fatbin`, where the package is built with
nvcc. Nothing here imports a CUDA library before one is asked for: see `engine.cuda.loading`. README.md beside this
file says how the kernels work and how they are proven.
"""

"""The parts of export_onnx.py. (A package called onnx would hide the library of that name from the scripts.)"""

"""The flow-accuracy bench: a balance under the catheter's tip, start-up and trumpet curves."""

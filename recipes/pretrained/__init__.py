"""The models that the package ships, trained anew: `python -m recipes.pretrained NAME`."""

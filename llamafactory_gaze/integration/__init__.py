"""How the plug-in meets LLaMA-Factory.

`touchpoints.py` is the complete list of the places where LLaMA-Factory is touched; the other files hold what is put
there: the recipe keys, the data set converter, the multimodal plug-in, the training targets, the adapters' settings,
the conversations of chat and API, the model card of an export.
"""

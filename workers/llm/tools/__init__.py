"""Tools as the LLM worker sees them: what the model is offered, checks of its calls, and what follows from them."""

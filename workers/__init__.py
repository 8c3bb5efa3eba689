"""The worker pools: speech to text (stt), language model (llm), text to speech (tts).  They meet only on the bus."""

"""The three pools: ears (stt), mind (llm) and mouth (tts).  They meet each other only on the bus."""

"""Making the embedded storyteller: a LoRA on SmolLM2-135M-Instruct, tuned on the written corpus."""

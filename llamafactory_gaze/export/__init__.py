"""What goes along with an exported model: its model card."""

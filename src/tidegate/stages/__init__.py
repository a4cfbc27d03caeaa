"""What happens to every call, once, in order. No stage knows another; the gateway says who follows whom."""

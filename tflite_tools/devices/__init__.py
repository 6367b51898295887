"""Where models are measured: this machine, or a phone behind Android's adb."""

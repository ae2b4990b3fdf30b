"""Where the time goes: labelling against the plain transcode that cannot be avoided, command by command, in turns.

result = measure(Plan(Path("mv.mp4"), label=[sys.executable, "-m", "tools", "label"]))
print(report.text(result))
"""

"""The command `ariann`, and `python -m ariann`."""

from ariann._role import main

if __name__ == "__main__":
    main()

"""`make chart`: writes the files of manifests/chart that are made."""

from tests.chart.made import FOLDER, files


def main() -> None:
    for name, text in files().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()

"""Names of folders -> the splits that they stand for, in many spellings and languages.

A name is read by whole words, never by parts of words: `train_set` is a split, `constrained` is none. Whether
`train_station` is one depends on its company: beside `test_station` it is, beside `test_tube` it is not.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_TRAIN = """
    train training trn trainval learn learning lernen entrainement apprentissage entrenamiento entreno
    aprendizaje addestramento allenamento apprendimento treino treinamento aprendizado trainen oefenen
    trening treningowy treningowe treningowa treningowych uczacy uczace uczaca egitim ogrenme обучение
    обучающая обучающий обучающие тренировка тренировочная тренировочный тренировочные учебная трейн 训练
    訓練 学習 學習 トレーニング 훈련 학습 트레이닝 lern ubung ubungs uczenie traning træning trenovaci
    навчання latih pelatihan تدريب
"""
_VALIDATION = """
    val valid vali validate validating validation dev devel validierung validieren validacion validazione
    convalida validacao validatie valideren walidacja walidacyjny walidacyjne walidacyjna walidacyjnych
    dogrulama gecerleme валидация валидационная валидационный валидационные проверочная проверочный 验证
    驗證 検証 バリデーション 검증 validering validacni validasi валідація تحقق
"""
_TEST = """
    test tests testing tst holdout heldout testen pruefung prufung essai prueba pruebas prova collaudo
    teste testes toets testowy testowe testowa testowych testy sinama тест тесты тестовая тестовый
    тестовые тестирование контрольная 测试 測試 テスト 試験 테스트 시험 pruf testowanie testovaci
    тестування uji pengujian اختبار
"""
_EVALUATION = """
    eval evaluate evaluating evaluation evaluierung evaluacion valutazione avaliacao evaluatie ewaluacja
    ewaluacyjny ewaluacyjne degerlendirme оценка оценочная 评估 評価 평가
"""
_FILLER = """
    set sets data dataset datasets image images img imgs pic pics picture pictures photo photos sample
    samples split splits subset folder dir files part my the of daten datensatz satz menge bild bilder
    donnees jeu ensemble d de di do da dei van voor datos conjunto imagenes fotos dati insieme immagini
    dados imagens gegevens beelden afbeeldingen dane zbior obrazy veri verisi seti kumesi resimler
    goruntuler набор выборка данные изображения картинки 集 集合 数据 數據 数据集 數據集 图像 图片 圖像
    圖片 用 データ データセット セット 画像 데이터 데이터셋 세트 이미지 용 셋 样本 樣本 サンプル 샘플
"""
_SUFFIXES = """
    set sets data dataset images imgs img pics split dir daten datensatz satz menge bilder 集 数据 數據
    数据集 數據集 图像 图片 用 データ データセット セット 画像 데이터 데이터셋 세트 이미지 용 셋 样本
    樣本 サンプル 샘플
"""
_PREFIXES = "images imgs img dataset data"


def fold_name(name: str) -> str:
    """Return a name without accents and in one case, so that spellings of one word are equal."""
    decomposed = unicodedata.normalize("NFKD", name.replace("ł", "l").replace("Ł", "L")).casefold()
    decomposed = unicodedata.normalize("NFKD", decomposed).replace("ı", "i")
    return "".join(character for character in decomposed if unicodedata.category(character) != "Mn")


_ROLE_OF = {
    fold_name(word): role
    for role, words in (
        ("train", _TRAIN),
        ("validation", _VALIDATION),
        ("test", _TEST),
        ("evaluation", _EVALUATION),
    )
    for word in words.split()
}
_FILLER_WORDS = frozenset(fold_name(word) for word in _FILLER.split())
_SUFFIX_WORDS = sorted((fold_name(word) for word in _SUFFIXES.split()), key=len, reverse=True)
_PREFIX_WORDS = tuple(_PREFIXES.split())
_ORDINARY = re.compile(r"train[0-9]*|val|valid|validation|test")


@dataclass(frozen=True, kw_only=True)
class SplitWords:
    """A folder's name, taken apart."""

    role: str
    """The split that a word of the name stands for: train, validation, test or evaluation."""
    number: str
    """The number behind that word, as it is written, or an empty string."""
    rest: tuple[str, ...]
    """The other words that mean something. Numbers in front and words such as "set" mean nothing."""


@lru_cache(maxsize=4096)
def parse_split_name(name: str) -> SplitWords | None:
    """Take a folder's name apart. The result is None if no word of it, or more than one, names a split.

    >>> parse_split_name("01_TrainSet")
    SplitWords(role='train', number='', rest=())
    >>> parse_split_name("constrained") is None
    True
    """
    words = _split_into_words(name)
    roles = {index: role for index, word in enumerate(words) if (role := _read_role(word))}
    if set(roles.values()) == {"train", "validation"}:  # train and val together, as in PASCAL VOC's trainval
        roles = {index: role for index, role in roles.items() if role == "train"}
        words = [word for word in words if _read_role(word) != "validation"]
        roles = {index: "train" for index, word in enumerate(words) if _read_role(word)}
    if len(set(roles.values())) != 1:
        return None
    first = min(roles)
    others = [(index, word) for index, word in enumerate(words) if index not in roles]
    number = ""
    if others and others[-1][0] == len(words) - 1 and others[-1][1].isdecimal():
        number = others.pop()[1]
    if others and others[0][0] == 0 and others[0][1].isdecimal():
        others.pop(0)
    return SplitWords(
        role=roles[first], number=number, rest=tuple(word for _, word in others if word not in _FILLER_WORDS)
    )


def read_split_names(names: Sequence[str]) -> dict[str, str]:
    """Return the split of each folder that is one, in the company of the others in the same place.

    A name with further words, such as `birds_train`, is a split only if all names are and have the same ones.
    Of several training folders with numbers, each is a split of its own, such as `train1`.

    >>> read_split_names(["birds_train", "birds_test"])
    {'birds_train': 'train', 'birds_test': 'test'}
    >>> read_split_names(["train_station", "test_tube"])
    {}
    """
    words_of = {name: words for name in names if (words := parse_split_name(name))}
    alike = len({words.rest for words in words_of.values()}) == 1 and len(words_of) == len(names)
    if not alike:
        words_of = {name: words for name, words in words_of.items() if not words.rest}
    roles = Counter(words.role for words in words_of.values())
    numbered_others = any(words.number for words in words_of.values() if words.role != "train")
    split_of = {}
    for name, words in words_of.items():
        split_of[name] = words.role
        if words.role == "evaluation":  # with a test folder beside it, it serves while training
            split_of[name] = "validation" if roles["test"] else "test"
        elif words.role == "train" and words.number and not (roles["train"] == 1 and numbered_others):
            split_of[name] = f"train{words.number}"
    return split_of


def is_filler(name: str) -> bool:
    """Return whether a folder's name says nothing of what is in it, such as `images` or `data`."""
    return all(word in _FILLER_WORDS for word in _split_into_words(name))


def is_ordinary(name: str) -> bool:
    """Return whether a split folder's name needs no explanation."""
    return _ORDINARY.fullmatch(name.lower()) is not None


def _split_into_words(name: str) -> list[str]:
    """Split a name at separators, between letters and digits, and before capitals inside a word."""
    spaced = re.sub(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])", " ", unicodedata.normalize("NFKC", name))
    words = re.findall(r"[^\W\d_]+|\d+", fold_name(spaced))
    for index in range(len(words) - 1, 0, -1):
        if words[index] == "out" and words[index - 1] in ("hold", "held"):
            words[index - 1 : index + 1] = ["holdout"]
    return words


def _read_role(word: str) -> str:
    """Return the split that a word stands for, also with words such as "set" written on to it."""
    for _ in range(3):
        if word in _ROLE_OF:
            return _ROLE_OF[word]
        shorter = next((word.removesuffix(end) for end in _SUFFIX_WORDS if word.endswith(end)), word)
        if shorter == word:
            break
        # German joins words by an s: Trainingsdaten.
        word = shorter if shorter in _ROLE_OF else shorter.removesuffix("s")
    shorter = next((word.removeprefix(start) for start in _PREFIX_WORDS if word.startswith(start)), word)
    return _ROLE_OF.get(shorter, "")

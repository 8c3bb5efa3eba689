"""Fixed phrases where no model gives words: farewell, apology, before a transfer, while a tool runs.

A language that is not listed gets English.  An agent's file can set its own farewell (`farewell`).
"""

from __future__ import annotations

FAREWELLS = {
    "en": "Thank you for calling. Goodbye.",
    "hi": "कॉल करने के लिए धन्यवाद। नमस्ते।",
    "bn": "কল করার জন্য ধন্যবাদ। নমস্কার।",
    "gu": "કૉલ કરવા બદલ આભાર. નમસ્તે.",
    "kn": "ಕರೆ ಮಾಡಿದ್ದಕ್ಕೆ ಧನ್ಯವಾದಗಳು. ನಮಸ್ಕಾರ.",
    "ml": "വിളിച്ചതിന് നന്ദി. നമസ്കാരം.",
    "mr": "कॉल केल्याबद्दल धन्यवाद. नमस्कार.",
    "or": "କଲ୍ କରିଥିବାରୁ ଧନ୍ୟବାଦ। ନମସ୍କାର।",
    "pa": "ਕਾਲ ਕਰਨ ਲਈ ਧੰਨਵਾਦ। ਸਤ ਸ੍ਰੀ ਅਕਾਲ।",
    "ta": "அழைத்ததற்கு நன்றி. வணக்கம்.",
    "te": "కాల్ చేసినందుకు ధన్యవాదాలు. నమస్కారం.",
    "ur": "کال کرنے کا شکریہ۔ خدا حافظ۔",
    "as": "কল কৰাৰ বাবে ধন্যবাদ। নমস্কাৰ।",
    "ne": "फोन गर्नुभएकोमा धन्यवाद। नमस्ते।",
    "ar": "شكراً لاتصالك. مع السلامة.",
    "de": "Vielen Dank für Ihren Anruf. Auf Wiederhören.",
    "es": "Gracias por llamar. Adiós.",
    "fr": "Merci de votre appel. Au revoir.",
    "id": "Terima kasih sudah menelepon. Sampai jumpa.",
    "it": "Grazie per aver chiamato. Arrivederci.",
    "ja": "お電話ありがとうございました。失礼いたします。",
    "nl": "Bedankt voor het bellen. Tot ziens.",
    "pl": "Dziękuję za telefon. Do widzenia.",
    "pt": "Obrigado por ligar. Até logo.",
    "ru": "Спасибо за звонок. До свидания.",
    "tr": "Aradığınız için teşekkürler. Hoşça kalın.",
    "zh": "感谢您的来电，再见。",
}
APOLOGIES = {
    "en": "I am sorry, I have a problem right now. Could you say that again, please?",
    "hi": "माफ़ कीजिए, अभी मुझे एक समस्या है। क्या आप फिर से कह सकते हैं?",
    "bn": "দুঃখিত, এখন আমার একটু সমস্যা হচ্ছে। আপনি কি আবার বলবেন?",
    "gu": "માફ કરશો, અત્યારે મને એક સમસ્યા છે. શું તમે ફરીથી કહેશો?",
    "kn": "ಕ್ಷಮಿಸಿ, ಈಗ ನನಗೆ ಒಂದು ತೊಂದರೆ ಇದೆ. ದಯವಿಟ್ಟು ಮತ್ತೆ ಹೇಳುತ್ತೀರಾ?",
    "ml": "ക്ഷമിക്കണം, ഇപ്പോൾ എനിക്ക് ഒരു പ്രശ്നമുണ്ട്. ഒന്നുകൂടി പറയാമോ?",
    "mr": "माफ करा, सध्या मला एक अडचण आहे. कृपया पुन्हा सांगाल का?",
    "pa": "ਮਾਫ਼ ਕਰਨਾ, ਹੁਣੇ ਮੈਨੂੰ ਇੱਕ ਸਮੱਸਿਆ ਹੈ। ਕੀ ਤੁਸੀਂ ਦੁਬਾਰਾ ਕਹੋਗੇ?",
    "ta": "மன்னிக்கவும், இப்போது எனக்கு ஒரு சிக்கல் உள்ளது. மீண்டும் சொல்ல முடியுமா?",
    "te": "క్షమించండి, ప్రస్తుతం నాకు ఒక సమస్య ఉంది. దయచేసి మళ్ళీ చెబుతారా?",
    "ur": "معاف کیجیے، ابھی مجھے ایک مسئلہ ہے۔ کیا آپ دوبارہ کہیں گے؟",
    "ne": "माफ गर्नुहोस्, अहिले मलाई समस्या छ। कृपया फेरि भन्नुहुन्छ?",
    "ar": "عذراً، لدي مشكلة الآن. هل يمكنك أن تعيد ما قلته من فضلك؟",
    "de": "Es tut mir leid, ich habe gerade ein Problem. Könnten Sie das bitte wiederholen?",
    "es": "Lo siento, tengo un problema en este momento. ¿Podría repetirlo, por favor?",
    "fr": "Je suis désolé, j'ai un problème en ce moment. Pourriez-vous répéter, s'il vous plaît ?",
    "id": "Maaf, sedang ada masalah. Bisa tolong diulangi?",
    "it": "Mi dispiace, ho un problema in questo momento. Può ripetere, per favore?",
    "ja": "申し訳ございません、ただいま問題が発生しています。もう一度おっしゃっていただけますか？",
    "nl": "Het spijt me, ik heb nu een probleem. Kunt u dat alstublieft herhalen?",
    "pl": "Przepraszam, mam teraz problem. Czy może Pan lub Pani powtórzyć?",
    "pt": "Desculpe, estou com um problema agora. Pode repetir, por favor?",
    "ru": "Извините, у меня сейчас неполадка. Повторите, пожалуйста.",
    "tr": "Üzgünüm, şu anda bir sorun var. Tekrar eder misiniz, lütfen?",
    "zh": "抱歉，我现在遇到了一点问题。请您再说一遍，好吗？",
}

CONNECTING = {
    "en": "One moment, I will put you through.",
    "hi": "एक क्षण रुकिए, मैं आपको जोड़ती हूँ।",
    "bn": "একটু ধরুন, আমি আপনাকে যুক্ত করছি।",
    "gu": "એક ક્ષણ, હું તમને જોડી આપું છું.",
    "kn": "ಒಂದು ಕ್ಷಣ, ನಿಮ್ಮನ್ನು ಸಂಪರ್ಕಿಸುತ್ತೇನೆ.",
    "ml": "ഒരു നിമിഷം, ഞാൻ നിങ്ങളെ ബന്ധിപ്പിക്കാം.",
    "mr": "एक क्षण थांबा, मी तुम्हाला जोडून देते.",
    "pa": "ਇੱਕ ਪਲ ਰੁਕੋ, ਮੈਂ ਤੁਹਾਨੂੰ ਜੋੜਦੀ ਹਾਂ।",
    "ta": "ஒரு நிமிடம், உங்களை இணைக்கிறேன்.",
    "te": "ఒక్క క్షణం, మిమ్మల్ని కలుపుతాను.",
    "ur": "ایک لمحہ، میں آپ کو ملاتی ہوں۔",
    "ne": "एकछिन, म तपाईंलाई जोडिदिन्छु।",
    "ar": "لحظة من فضلك، سأحوّلك الآن.",
    "de": "Einen Moment, ich verbinde Sie.",
    "es": "Un momento, le paso la llamada.",
    "fr": "Un instant, je vous mets en relation.",
    "id": "Mohon tunggu, saya sambungkan.",
    "it": "Un attimo, la metto in contatto.",
    "ja": "少々お待ちください、おつなぎいたします。",
    "nl": "Een moment, ik verbind u door.",
    "pl": "Chwileczkę, już łączę.",
    "pt": "Um momento, vou transferir a ligação.",
    "ru": "Минуту, я вас соединю.",
    "tr": "Bir saniye, sizi bağlıyorum.",
    "zh": "请稍等，我为您转接。",
}
"""Before a transfer."""
ENTER_DIGITS = {
    "en": "Please enter the digits on your telephone.",
    "hi": "कृपया अपने फ़ोन पर अंक दबाइए।",
    "bn": "অনুগ্রহ করে ফোনে সংখ্যাগুলি চাপুন।",
    "gu": "કૃપા કરીને ફોન પર અંકો દબાવો.",
    "kn": "ದಯವಿಟ್ಟು ಫೋನ್‌ನಲ್ಲಿ ಅಂಕಿಗಳನ್ನು ಒತ್ತಿ.",
    "ml": "ദയവായി ഫോണിൽ അക്കങ്ങൾ അമർത്തുക.",
    "mr": "कृपया फोनवर अंक दाबा.",
    "pa": "ਕਿਰਪਾ ਕਰਕੇ ਫ਼ੋਨ 'ਤੇ ਅੰਕ ਦਬਾਓ।",
    "ta": "தயவுசெய்து தொலைபேசியில் எண்களை அழுத்தவும்.",
    "te": "దయచేసి ఫోన్‌లో అంకెలు నొక్కండి.",
    "ur": "براہ کرم فون پر ہندسے دبائیں۔",
    "ne": "कृपया फोनमा अंकहरू थिच्नुहोस्।",
    "ar": "من فضلك أدخل الأرقام على هاتفك.",
    "de": "Bitte geben Sie die Ziffern auf Ihrem Telefon ein.",
    "es": "Por favor, marque los números en su teléfono.",
    "fr": "Veuillez saisir les chiffres sur votre téléphone.",
    "id": "Silakan tekan angkanya di telepon Anda.",
    "it": "Digiti i numeri sul telefono, per favore.",
    "ja": "電話機で番号を入力してください。",
    "nl": "Toets de cijfers in op uw telefoon.",
    "pl": "Proszę wprowadzić cyfry na telefonie.",
    "pt": "Digite os números no seu telefone, por favor.",
    "ru": "Пожалуйста, введите цифры на телефоне.",
    "tr": "Lütfen rakamları telefonunuzda tuşlayın.",
    "zh": "请在电话上输入号码。",
}
"""Before digits are collected."""
FILLERS = {
    "en": ("One moment, please.", "I am still looking into it.", "It takes a little longer, thank you for waiting."),
    "hi": ("एक क्षण रुकिए।", "मैं अभी देख रही हूँ।", "थोड़ा समय और लगेगा, कृपया प्रतीक्षा कीजिए।"),
    "bn": ("একটু ধরুন।", "আমি এখনও দেখছি।"),
    "gu": ("એક ક્ષણ.", "હું હજી જોઈ રહી છું."),
    "kn": ("ಒಂದು ಕ್ಷಣ.", "ನಾನು ಇನ್ನೂ ನೋಡುತ್ತಿದ್ದೇನೆ."),
    "ml": ("ഒരു നിമിഷം.", "ഞാൻ ഇപ്പോഴും നോക്കുകയാണ്."),
    "mr": ("एक क्षण.", "मी अजून पाहते आहे."),
    "pa": ("ਇੱਕ ਪਲ।", "ਮੈਂ ਅਜੇ ਦੇਖ ਰਹੀ ਹਾਂ।"),
    "ta": ("ஒரு நிமிடம்.", "இன்னும் பார்த்துக் கொண்டிருக்கிறேன்."),
    "te": ("ఒక్క క్షణం.", "నేను ఇంకా చూస్తున్నాను."),
    "ur": ("ایک لمحہ۔", "میں ابھی دیکھ رہی ہوں۔"),
    "ne": ("एकछिन।", "म अझै हेर्दैछु।"),
    "ar": ("لحظة من فضلك.", "ما زلت أبحث."),
    "de": ("Einen Moment, bitte.", "Ich sehe noch nach."),
    "es": ("Un momento, por favor.", "Sigo consultándolo."),
    "fr": ("Un instant, s'il vous plaît.", "Je suis encore en train de regarder."),
    "id": ("Mohon tunggu sebentar.", "Masih saya periksa."),
    "it": ("Un attimo, per favore.", "Sto ancora controllando."),
    "ja": ("少々お待ちください。", "ただいま確認しております。"),
    "nl": ("Een moment, alstublieft.", "Ik ben het nog aan het nakijken."),
    "pl": ("Chwileczkę, proszę.", "Nadal sprawdzam."),
    "pt": ("Um momento, por favor.", "Ainda estou verificando."),
    "ru": ("Минуту, пожалуйста.", "Я всё ещё проверяю."),
    "tr": ("Bir saniye, lütfen.", "Hâlâ bakıyorum."),
    "zh": ("请稍等。", "我还在查询。"),
}
"""While a tool runs, in turn."""


def farewell(language: str) -> str:
    """Return the farewell before hanging up, in the language of this BCP 47 tag."""
    return FAREWELLS.get(_primary(language), FAREWELLS["en"])


def apology(language: str) -> str:
    """Return the apology for a failed answer, in the language of this BCP 47 tag."""
    return APOLOGIES.get(_primary(language), APOLOGIES["en"])


def connecting(language: str) -> str:
    """Return the sentence before a transfer, in the language of this BCP 47 tag."""
    return CONNECTING.get(_primary(language), CONNECTING["en"])


def enter_digits(language: str) -> str:
    """Return the sentence that asks for digits, in the language of this BCP 47 tag."""
    return ENTER_DIGITS.get(_primary(language), ENTER_DIGITS["en"])


def fillers(language: str) -> tuple[str, ...]:
    """Return the sentences that are spoken while a tool runs, in the language of this BCP 47 tag."""
    return FILLERS.get(_primary(language), FILLERS["en"])


def _primary(language: str) -> str:
    return language.partition("-")[0].lower()

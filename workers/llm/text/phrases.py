"""Fixed phrases for a model that gives no words: a farewell and an apology, in the agent's language.

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


def farewell(language: str) -> str:
    """Return the farewell before hanging up, in the language of this BCP 47 tag."""
    return FAREWELLS.get(_primary(language), FAREWELLS["en"])


def apology(language: str) -> str:
    """Return the apology for a failed answer, in the language of this BCP 47 tag."""
    return APOLOGIES.get(_primary(language), APOLOGIES["en"])


def _primary(language: str) -> str:
    return language.partition("-")[0].lower()
